"""The routes of the page: its policy, its files, and nothing else."""

from __future__ import annotations

import re
from importlib.resources import files

from hifigan_rt.tools.serving import static_page


def test_the_policy_lets_nothing_else_in(client):
    answer = client.get("/")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "microphone=(self)" in answer.headers["permissions-policy"]


def test_files_are_the_packages_own_and_asked_for_again(client):
    folder = files("hifigan_rt.tools.serving") / "page"
    names = {entry.name for entry in folder.iterdir()}
    assert names == set(static_page._OWN)
    asked = set(re.findall(r'(?:src|href)="page/([^"]+)"', client.get("/").text))
    assert asked | {"index.html"} == names | {"player.js", "spectrogram.js", "transport.js"}
    for name in asked:
        answer = client.get(f"/page/{name}")
        assert answer.status_code == 200
        assert not re.search(r"(https?:)?//(?!www\.w3\.org/2000/svg)\w+\.\w", answer.text), name
        tag = answer.headers["etag"]
        for given in (tag, f"W/{tag}", f'"other", W/{tag}', "*"):
            again = client.get(f"/page/{name}", headers={"If-None-Match": given})
            assert (again.status_code, again.content) == (304, b"")
        for given in ('"other"', f"x{tag}", ""):
            assert client.get(f"/page/{name}", headers={"If-None-Match": given}).status_code == 200


def test_other_names_lead_nowhere(client):
    for name in ("app.py", "..%2fapp.py", "%2e%2e/app.py", "page.css/", "PAGE.CSS", "__init__.py"):
        assert client.get(f"/page/{name}").status_code == 404
