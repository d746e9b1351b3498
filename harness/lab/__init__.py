"""Emulated routers for a labgrid lab: a program that offers them to many users.

Each is exported as what labgrid's own drivers can use: a `NetworkService` (SSH), a
`NetworkSerialPort` (console), a `NetworkPowerPort`, and an `HttpDigitalOutput` named `wan`, which
is the cable.
"""
