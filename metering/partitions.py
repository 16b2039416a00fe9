"""Which partition a customer belongs to, and the names of its keys in Redis."""

import zlib


def partition_of(customer_id: str, partitions: int) -> int:
    """Stable hash of the customer. CRC-32 (zlib), the same on every machine and Python."""
    return zlib.crc32(customer_id.encode()) % partitions


def live_key(partition: int) -> str:
    """`{pNN}:live`; the braces keep both hashes of a partition on one Redis Cluster slot."""
    return f"{{p{partition:02d}}}:live"


def drain_key(partition: int) -> str:
    """`{pNN}:drain`, the hash that was set aside for the ledger."""
    return f"{{p{partition:02d}}}:drain"


def quota_key(partition: int) -> str:
    """`{pNN}:quota`, what the ledger says of the partition's prepaid packages."""
    return f"{{p{partition:02d}}}:quota"


def lending_key(partition: int) -> str:
    """`{pNN}:lending`, who may hold leases of them, and who must say so first."""
    return f"{{p{partition:02d}}}:lending"


def lease_key(partition: int, name: str) -> str:
    """`{pNN}:lease:<name>`, what each lane holds of an account or of slots."""
    return f"{{p{partition:02d}}}:lease:{name}"


def rate_key(partition: int, name: str) -> str:
    """`{pNN}:rate:<name>`, how much of a rate is spent."""
    return f"{{p{partition:02d}}}:rate:{name}"
