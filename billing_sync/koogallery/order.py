"""What is known of an order line, whoever told it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Order:
    """One order line. What the marketplace did not tell is empty; `expires` is UTC ms, 0 is none.

    `product_ids` holds more than one when a specification has several billing items;
    `linear_values` are the quantities the buyer chose of them, where the product has a quantity.
    """

    order_id: str
    order_line_id: str
    product_ids: tuple[str, ...] = ()
    charging_mode: str = ""
    customer_id: str = ""
    customer_name: str = ""
    expires: int = 0
    raw: str = ""
    linear_values: Mapping[str, int] = field(default_factory=dict)
    trial: bool = False

    @property
    def complete(self) -> bool:
        """Whether an instance can be provisioned from it."""
        return bool(self.customer_id and self.product_ids)

    def linear_value(self, product_id: str) -> int:
        """How many of the product were bought: 1 where the order does not say."""
        return self.linear_values.get(product_id, 1)

    def renamed(self, mapped: Mapping[str, str]) -> "Order":
        """The same order of the products that its own are metered as."""
        return replace(
            self,
            product_ids=tuple(dict.fromkeys(mapped.get(each, each) for each in self.product_ids)),
            linear_values={mapped.get(p, p): value for p, value in self.linear_values.items()},
        )
