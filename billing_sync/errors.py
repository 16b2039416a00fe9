"""The control plane's named conditions.

BillingSyncError
├── BadSignature       a callback's signature is missing or wrong (answer 000001)
├── BadEvent           a callback that cannot be read or is not served (answer 000002)
├── Undecipherable     a value that was encrypted with another key
├── PrivateKeyUnsuitable  the file of the seller's RSA key cannot be used
├── UnknownTransition  the lifecycle table lacks a row
├── OrderUnavailable   the marketplace did not say what was ordered
│   └── TooOften       because it was asked too often
├── StaticConflict     a static customer names an instance that belongs to someone else
├── LaneIsAlive        a lane that still beats cannot be given up
├── LaneUnknown        a lane that nobody ever heard of
├── NothingToRecover   the ledger was not set back
├── LogDamaged         the push log holds lines that cannot be read
├── RecordsClash       the push log and the ledger say different things of the same time
├── LedgerTooNew       a newer version made the ledger
├── LedgerUnsuitable   the database cannot hold a ledger, or holds one that cannot be read
├── UnknownRecord      no usage record has this metering_sn
├── UnknownAlert       no alert has this id
├── WrongState         a usage record or an alert that this cannot be done with
├── CorrectionRefused  an adjustment or an assignment that makes no sense
├── UnknownCustomer    no customer has this id
├── UnknownKey         no API key has this id
├── KeyRefused         an API key that cannot be made, rotated or revoked as asked
├── UnknownMapping     no mapping is for this product id
├── MappingRefused     a product id that cannot be mapped as asked
├── MakerUnusable      the licence maker of the configuration cannot be called
├── UnknownLicence     no licence has this id
├── BadLink            a link to a customer's page that opens nothing
├── SignInRefused      a person who cannot be signed in
│   └── SignInAway     because the tenant's authentication centre does not answer
├── ImportRefused      instances that cannot be taken over as the file says
├── BadQuestion        an API request that cannot be answered as it is asked
├── Forged             a form that another site may have sent
└── ProofUnavailable   no reconciliation or explanation can be made now
"""


class BillingSyncError(Exception):
    """The root; its text may be shown to an operator and never holds a secret."""


class BadSignature(BillingSyncError):
    """Whoever called does not hold the access key, or repeats an earlier call word for word."""


class BadEvent(BillingSyncError):
    """A lifecycle callback with a missing, oversized or impossible field; the text names it."""


class Undecipherable(BillingSyncError):
    """An encrypted value of V1.0 that the access key does not open; the text says nothing of it."""


class PrivateKeyUnsuitable(BillingSyncError):
    """koogallery.private_key_file cannot be used; the text goes on after the file's name."""


class UnknownTransition(BillingSyncError):
    """An event in a state for which the table has no row."""


class OrderUnavailable(BillingSyncError):
    """The order query failed or did not answer in time; asking again later is right."""


class TooOften(OrderUnavailable):
    """The order query was asked too often."""


class StaticConflict(BillingSyncError):
    """The configuration's `customers:` names an instance id that is already taken."""


class LaneIsAlive(BillingSyncError):
    """A lane that still says something is not lost; the text says when it did last."""


class LaneUnknown(BillingSyncError):
    """Neither a heartbeat nor a checkpoint names the lane."""


class NothingToRecover(BillingSyncError):
    """The ledger knows everything that the push log and Redis know."""


class LogDamaged(BillingSyncError):
    """A line of the push log cannot be read: a batch that was pushed may be missing."""


class RecordsClash(BillingSyncError):
    """A record of the push log lies over one of the ledger, or is another one under its name."""


class LedgerTooNew(BillingSyncError):
    """The ledger is at a revision that this code does not know."""


class LedgerUnsuitable(BillingSyncError):
    """The database answers, but cannot be used as a ledger; the text says why."""


class UnknownRecord(BillingSyncError):
    """No usage record of the ledger has this metering_sn."""


class UnknownAlert(BillingSyncError):
    """No alert of the ledger has this id."""


class WrongState(BillingSyncError):
    """A usage record or an alert is not where it would have to be for this; the text says where it is."""


class CorrectionRefused(BillingSyncError):
    """An adjustment or an assignment of suspense cannot be taken; the text says what to do."""


class UnknownCustomer(BillingSyncError):
    """Neither a purchase nor the configuration made this customer known."""


class UnknownKey(BillingSyncError):
    """No API key of the ledger has this id."""


class KeyRefused(BillingSyncError):
    """An API key that cannot be made, rotated or revoked as asked; the text says what to do."""


class UnknownMapping(BillingSyncError):
    """No product id of this name is mapped."""


class MappingRefused(BillingSyncError):
    """A product id that cannot be mapped as asked; the text says what to do."""


class ImportRefused(BillingSyncError):
    """Instances that cannot be taken over; the text names the line and what is wrong with it."""


class MakerUnusable(BillingSyncError):
    """`koogallery.licence.maker` names nothing that can make licences; the text says why."""


class UnknownLicence(BillingSyncError):
    """No licence of the ledger has this id."""


class BadLink(BillingSyncError):
    """A link that is not ours, over or revoked. Its holder is told no more than that it opens nothing."""


class SignInRefused(BillingSyncError):
    """A person could not be signed in, or no longer is; the text is for the log."""


class SignInAway(SignInRefused):
    """The tenant's authentication centre does not answer, or not as it should; trying again may help."""


class BadQuestion(BillingSyncError):
    """A parameter of the operator's API is unknown or unreadable; the text says which."""


class Forged(BillingSyncError):
    """A form without the token that only our own page knows."""


class ProofUnavailable(BillingSyncError):
    """No reconciliation or explanation can be made now; the text says why."""
