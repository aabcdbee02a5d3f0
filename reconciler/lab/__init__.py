"""Appliances to rehearse on."""
