"""What runs the thing under test: it has power, cables and a way in, and knows nothing of WAMP."""
