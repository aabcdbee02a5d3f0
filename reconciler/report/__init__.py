"""One view of a plan, a result or a store, and the renderers that show it. No decisions."""
