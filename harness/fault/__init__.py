"""What can go wrong with a router, a module for each kind of fault.

A device offers the faults that it can suffer (`Device.faults`); the names of those are the words
of `@pytest.mark.needs(...)`. Every fault writes what it does to the time line.
"""
