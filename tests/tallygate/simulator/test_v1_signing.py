"""V1.0 signatures against published and derived vectors."""

from hypothesis import given
from hypothesis import strategies as st

from tallygate.simulator.v1_signing import auth_token, reply_signature

# Published with the vendor's sample; its key is a placeholder of seven x.
PARAMETERS = {
    "activity": "newInstance",
    "businessId": "61e834ba-7b97-4418-b8f7-e5345137278c",
    "customerId": "68cbc86abc2018ab880d92f36422fa0e",
    "expireTime": "20200727153156",
    "orderId": "CS1906666666ABCDE",
    "productId": "00301-666666-0--0",
    "testFlag": "1",
    "timeStamp": "20200727073711903",
}
TOKEN = "Gzbfjf9LHRBcI3bFVi++sLinCNOBF6qa7is1fvjEgYQ="


def test_the_published_token() -> None:
    """It is reproduced, and does not depend on itself nor on the order of parameters."""
    assert auth_token("xxxxxxx", PARAMETERS) == TOKEN
    shuffled = dict(reversed(list(PARAMETERS.items())))
    assert auth_token("xxxxxxx", {"authToken": "other", **shuffled}) == TOKEN


def test_the_signature_of_a_reply() -> None:
    """Base64 over the very bytes of the body."""
    body = b'{"resultCode":"000000","resultMsg":"success."}'
    assert reply_signature("xxxxxxx", body) == "YB9MRaDz8ENM8JzoKzW8YT4yUrcMdby3kM31MTz8tO4="


@given(
    st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
)
def test_any_parameters_can_be_signed(parameters: dict[str, str]) -> None:
    """A token has 44 characters, whatever is signed."""
    assert len(auth_token("key", parameters)) == 44
