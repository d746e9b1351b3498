"""What can go wrong with a device, a network or a node, a module for each kind of fault.

A fault is a value (`harness.fault.fault`); `harness.fault.catalogue` has them all, and
`harness.fault.injector` does them. The words of a test, such as `device.power`, make these values.
"""
