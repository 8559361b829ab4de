"""How much of what a device can do an engine does: what a network takes, what the device gives."""
