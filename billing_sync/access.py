"""Who looks at a customer's page, and what of it he may see and do. Pure."""

from typing import NamedTuple


class Access(NamedTuple):
    """`instances` None is everything of the customer; else these alone. `person` is a signed-in user's
    name, empty for a link."""

    customer_id: str
    instances: frozenset[str] | None = None
    may_rotate: bool = False
    person: str = ""

    def sees(self, instance_id: str) -> bool:
        """Whether what is charged to this instance may be shown."""
        return self.instances is None or instance_id in self.instances
