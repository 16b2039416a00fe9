"""What is listed of configured keys: the ids that gateways know them by, and never a key."""

from gateway.admission import Directory
from gateway.settings import Customer
from metering import keys
from tallygate.declared_keys import static_customers


def test_the_ids_are_those_of_the_gateways() -> None:
    """So that their last use is found; in every form a key can be written in."""
    hashed = keys.sha256_hex("sk-hashed")
    written = ["sk-plain-0", {"key": "sk-laptop-1", "name": "laptop", "routes": ["chat"]}]
    document = {"id": "c", "name": "C", "keys": written, "key_hashes": [hashed]}
    customer = Customer.model_validate(document)
    (static,) = static_customers([customer], b"secret")
    directory = Directory(keys.pepper(b"secret"), [customer])
    found = [directory.by_key(key) for key in (b"sk-plain-0", b"sk-laptop-1", b"sk-hashed")]
    assert [key.key_id for key in static.keys] == [known.key.key_id for known in found if known]
    assert [(key.name, list(key.routes)) for key in static.keys] == [
        ("", []),
        ("laptop", ["chat"]),
        ("", []),
    ]
    assert not any(secret in repr(static) for secret in ("sk-plain", "sk-laptop", hashed))
