"""What the control plane may know of the keys that the configuration declares: everything but the keys."""

from collections.abc import Iterable

from billing_sync.store.customers import ConfiguredKey, StaticCustomer
from gateway.settings import Customer
from metering import keys


def static_customers(customers: Iterable[Customer], secret: bytes) -> list[StaticCustomer]:
    """The configuration's customers; `secret` is the installation's."""
    pepper = keys.pepper(secret)
    return [
        StaticCustomer(
            customer.id,
            customer.name,
            [(instance.id, instance.product) for instance in customer.instances],
            [
                ConfiguredKey(
                    keys.static_key_id(keys.digest_of_sha256(pepper, key.sha256)),
                    key.name,
                    key.expires_ms,
                    key.routes,
                )
                for key in customer.declared_keys()
            ],
        )
        for customer in customers
    ]
