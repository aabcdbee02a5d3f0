"""What an appliance holds, and how it is changed: `LiveStore`, the `Driver` protocol, a folder per driver."""
