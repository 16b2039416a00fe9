"""What the ledger knows of an instance, as rules and makers of licences want it."""

from datetime import UTC, datetime

from billing_sync.licence_models import Licence
from billing_sync.licence_rules import Standing
from billing_sync.licences import LicenceRequest, moment
from billing_sync.store.licences import Owner
from metering.catalogue import Catalogue
from metering.entitlement import InstanceStatus


def standing_of(owner: Owner, catalogue: Catalogue, devices: frozenset[str]) -> Standing:
    """For the rules."""
    instance, line = owner
    return Standing(
        status=InstanceStatus(instance.status),
        product_id=instance.product_id,
        product=catalogue.get(instance.product_id),
        charging_mode=line.charging_mode if line else "",
        quantity=instance.linear_value,
        expires=instance.expires,
        devices=devices,
    )


def request_of(row: Licence, owner: Owner, fingerprint: str, name: str) -> LicenceRequest:
    """For a maker; `name` is the buyer's."""
    instance, line = owner
    return LicenceRequest(
        id=row.id,
        event_id=row.event_id,
        instance_id=row.instance_id,
        product_id=instance.product_id,
        order_id=instance.order_id,
        order_line_id=instance.order_line_id,
        customer_id=instance.customer_id,
        customer_name=name,
        charging_mode=line.charging_mode if line else "",
        quantity=instance.linear_value,
        effective=moment(row.effective) or datetime.fromtimestamp(0, UTC),
        expires=moment(row.expires),
        fingerprint=fingerprint,
    )
