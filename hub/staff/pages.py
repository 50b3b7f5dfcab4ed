"""What staff see after signing in. I/O: HTTP, the database.

Each page names its right, and its reading is in the transaction that records it (hub/staff/door.py).
"""

from fastapi import APIRouter, Request, Response

from hub.api.operation import load_figures
from hub.context import Hub
from hub.portal.account import SHANGHAI
from hub.portal.browser import render
from hub.staff.actions import BY_COMMAND, load_actions
from hub.staff.door import Permit, acting, require_staff
from hub.staff.rights import RIGHTS, Right, What

RIGHT_NAMES = {
    Right.SEE_OWN: ("查看自己的权限和操作记录", "see one's own rights and actions"),
    Right.SEE_OPERATION: ("查看运行情况", "see how the hub runs"),
    Right.SEE_STATEMENTS: ("查看本平台的对账单", "see one's own platform's statements"),
    Right.SEE_FIGURES: ("查看辖区汇总数据", "see the jurisdiction's totals"),
    Right.SEE_CASE: ("在立案范围内查看辖区个案", "see what a case in the jurisdiction is about"),
    Right.DECIDE_HOLDS: ("放行或驳回被搁置的行为", "release or reject what clearing held"),
    Right.SETTLE_BREAKS: ("处理并签署对账差异", "settle breaks between statements and sign them"),
    Right.ADJUST: ("冲销、更正或改归已清分的行为", "take back, correct or move what was cleared"),
    Right.OPEN_DISPUTES: ("在立案范围内就辖区事项提出争议", "open disputes within a case in the jurisdiction"),
    Right.DECIDE_DISPUTES: ("受理并裁定争议", "take care of disputes and decide them"),
    Right.SEE_LOG: ("检索互联日志、核对双方记录", "search the interconnection log and pair both sides' entries"),
}
# The words of the record, as they are shown: in both languages, and short enough for a phone.
WHAT_NAMES = {
    What.ADDED: ("加入", "added"),
    What.LINK_MADE: ("发放登记链接", "link made"),
    What.ENROLLED: ("登记通行密钥", "enrolled"),
    What.DISABLED: ("停用", "disabled"),
    What.SIGNED_IN: ("登录", "signed in"),
    What.SIGNED_OUT: ("退出", "signed out"),
    What.REFUSED: ("被拒绝", "refused"),
    What.HOME_SEEN: ("查看工作台", "saw this page"),
    What.OPERATION_SEEN: ("查看运行情况", "saw the operation"),
    What.HOLD_RELEASED: ("放行一项搁置", "released a hold"),
    What.HOLD_REJECTED: ("驳回一项搁置", "rejected a hold"),
    What.BREAK_PROPOSED: ("提议处理一项差异", "proposed about a break"),
    What.BREAK_SIGNED: ("签署一项差异", "signed a break"),
    What.ADJUSTED: ("作出一项调整", "posted an adjustment"),
    What.DISPUTE_OPENED: ("提出一项争议", "opened a dispute"),
    What.DISPUTE_SEEN: ("查看一项争议", "saw a dispute"),
    What.DISPUTE_EVIDENCE: ("在争议中补充材料", "wrote in a dispute"),
    What.DISPUTE_MOVED: ("推进一项争议", "moved a dispute on"),
    What.DISPUTE_DECIDED: ("裁定一项争议", "decided a dispute"),
    What.DISPUTE_WITHDRAWN: ("撤回一项争议", "withdrew a dispute"),
    What.CLIENT_BOUND: ("绑定一个程序", "client bound"),
    What.LOG_SEARCHED: ("检索互联日志", "searched the log"),
    What.LOG_PAIRED: ("核对双方记录", "paired both sides' entries"),
    What.LOG_EXPORTED: ("导出互联日志", "exported entries of the log"),
    What.LOG_MEASURED: ("查看互联指标", "saw the exchange's metrics"),
    What.PROOF_SEEN: ("取得一份证明", "took a proof"),
}
FIGURE_NAMES = {
    "tanlian_source_records": "已接收记录",
    "tanlian_quarantined_rows": "搁置的行",
    "tanlian_dirty_subjects": "待清算的人",
    "tanlian_open_links": "有效关联",
    "tanlian_open_disputes": "未结争议",
    "tanlian_log_waiting": "待签名日志",
}


def staff_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    @router.get("/staff")
    def home(request: Request) -> Response:
        permit = require_staff(hub, request, Right.SEE_OWN)
        with acting(hub, permit, What.HOME_SEEN) as session:
            actions = load_actions(session, permit.member.staff_id)
        rows = [
            {
                "at": f"{action.at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}",
                "what": WHAT_NAMES[What(action.what)],
                "right": ("命令行", "command line") if action.right == BY_COMMAND else RIGHT_NAMES[Right(action.right)],
                "ids": ", ".join(f"{name} {value}" for name, value in action.ids.items()),
                "case": action.case_id or "",
            }
            for action in actions
        ]  # fmt: skip
        rights = [RIGHT_NAMES[right] for right in sorted(RIGHTS[permit.member.role])]
        return _page("staff_home.html", permit, rights=rights, actions=rows)

    @router.get("/staff/operation")
    def operation(request: Request) -> Response:
        permit = require_staff(hub, request, Right.SEE_OPERATION)
        with acting(hub, permit, What.OPERATION_SEEN) as session:
            figures = load_figures(session)
        return _page("staff_operation.html", permit, figures=figures, names=FIGURE_NAMES)

    return router


def _page(template: str, permit: Permit, **values: object) -> Response:
    member = permit.member
    shared = {"signed_in": False, "csrf": permit.visit.csrf, "member": member}
    rights = RIGHTS[member.role]
    return render(template, **shared, operation=Right.SEE_OPERATION in rights, log=Right.SEE_LOG in rights, **values)
