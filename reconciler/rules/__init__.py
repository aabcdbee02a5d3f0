"""The guide's rules as small pure functions over the desired state, or over desired and live state at an instant."""
