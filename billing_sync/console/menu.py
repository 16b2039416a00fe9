"""What the column at the side offers, in its groups."""

from typing import Final

# (group, ((page, address), ...)); texts stand under console.menu
MENU: Final = (
    ("today", (("overview", "/console"),)),
    (
        "sales",
        (
            ("customers", "/console/customers"),
            ("packages", "/console/packages"),
            ("keys", "/console/keys"),
            ("products", "/console/products"),
        ),
    ),
    (
        "billing",
        (
            ("records", "/console/records"),
            ("suspense", "/console/suspense"),
            ("adjustments", "/console/adjustments"),
            ("alerts", "/console/alerts"),
        ),
    ),
    (
        "proof",
        (
            ("reconcile", "/console/reconcile"),
            ("explain", "/console/explain"),
            ("history", "/console/history"),
            ("health", "/console/health"),
        ),
    ),
)
