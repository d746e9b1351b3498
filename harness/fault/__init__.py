"""What can go wrong with a router, a module for each kind of fault.

A device says which it can suffer (`Device.capabilities`); the names of those are the words of
`@pytest.mark.needs(...)`. Every fault is on the time line, from its beginning to its end: see
`harness.fault.injector`.
"""
