"""A person under another name for each recipient, so that two recipients cannot compare whom they know. Pure."""

from consent.keyring import KeyPurpose, KeyRing


def pairwise_subject(keyring: KeyRing, recipient: str, subject_id: int) -> str:
    """The person as this recipient knows them: 128 bits that nobody can compute without the hub's key."""
    return "s_" + keyring.digest(KeyPurpose.PAIRWISE, "subject", recipient, str(subject_id))[:16].hex()
