"""The only room that changes a store: it carries out a plan and decides nothing that a plan decides."""
