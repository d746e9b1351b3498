"""What can go wrong with a router, a module for each kind of fault.

A device says which it can suffer (`Device.capabilities`); the names of those are the words of
`@pytest.mark.needs(...)`. Every fault writes what it does to the time line.
"""
