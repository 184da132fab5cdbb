"""The devices of local users.

What other subjects keep about a device goes with it through `homeserver.storage.devices.DeviceRows`.
"""
