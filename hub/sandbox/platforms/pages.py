"""The two HTML pages of a platform's sign-in: plain forms that work without JavaScript. Pure."""

from html import escape

from starlette.responses import HTMLResponse

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def sign_in_page(title: str, request: str, *, wrong: bool = False) -> HTMLResponse:
    """Ask who the person is; `request` is the sealed authorization request."""
    notice = "<p role='alert'>The name or the password is wrong. 用户名或密码错误。</p>" if wrong else ""
    return _page(
        f"{title}: sign in",
        f"""{notice}<form method="post" action="/oauth/sign-in">
<input type="hidden" name="request" value="{escape(request)}">
<p><label>Name 用户名 <input name="username" autocomplete="username" required></label></p>
<p><label>Password 密码 <input name="password" type="password" autocomplete="current-password" required></label></p>
<p><button type="submit">Sign in 登录</button></p></form>""",
        status=401 if wrong else 200,
    )


def consent_page(title: str, client_name: str, scopes: str, ticket: str) -> HTMLResponse:
    """Ask whether the client may; `ticket` is the sealed request together with who signed in."""
    return _page(
        f"{title}: allow?",
        f"""<p>{escape(client_name)} asks for: {escape(scopes)}.</p>
<form method="post" action="/oauth/decision">
<input type="hidden" name="ticket" value="{escape(ticket)}">
<p><button type="submit" name="decision" value="approve">Allow 同意</button>
<button type="submit" name="decision" value="refuse">Refuse 拒绝</button></p></form>""",
    )


def refusal_page(title: str, sentence: str) -> HTMLResponse:
    """Say what is wrong where redirecting would not be safe."""
    return _page(f"{title}: not possible", f"<p role='alert'>{escape(sentence)}</p>", status=400)


def _page(title: str, body: str, *, status: int = 200) -> HTMLResponse:
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title></head>
<body><h1>{escape(title)}</h1>
{body}
<p><small>A simulated platform. 模拟平台。</small></p></body></html>"""
    return HTMLResponse(text, status_code=status, headers=_HEADERS)
