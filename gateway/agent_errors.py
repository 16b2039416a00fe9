"""What a call is told whose proof to come from the Agents gateway does not hold. Pure."""

from typing import Final

from gateway.agents import Verdict
from gateway.errors import Unauthenticated

_TOLD: Final[dict[Verdict, tuple[str, str]]] = {
    Verdict.MALFORMED: (
        "it is not a token of the Agents gateway (JWT, HS256, with api_key and timestamp)",
        "不是 Agents 网关的令牌（JWT，HS256，含 api_key 与 timestamp）",
    ),
    Verdict.UNKNOWN_APP: ("its APP Key is not known here", "APP Key 未知"),
    Verdict.BAD_SIGNATURE: (
        "it is not signed by the APP Secret known here",
        "签名与此处配置的 APP Secret 不符",
    ),
    Verdict.EXPIRED: ("it has expired; compare the clocks", "已过期，请检查时钟"),
    Verdict.FUTURE: ("it was made later than now; compare the clocks", "签发时间晚于当前时间，请检查时钟"),
    Verdict.BAD_CONSTANT: ("the constant header has another value", "固定请求头的值不符"),
}  # fmt: skip


class AgentUnproved(Unauthenticated):
    """401: neither this proof nor any key says who calls."""

    code = "agent_unproved"
    message = "The Agents gateway's proof does not hold."
    message_zh = "Agents 网关的身份证明无效。"

    def __init__(self, verdict: Verdict = Verdict.MALFORMED) -> None:
        text, text_zh = _TOLD[verdict]
        super().__init__(
            f"The Agents gateway's proof does not hold: {text}.",
            f"Agents 网关的身份证明无效：{text_zh}。",
        )
