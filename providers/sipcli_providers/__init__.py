"""Credential providers that ship with sipcli; each is imported when first used."""
