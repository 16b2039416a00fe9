"""nginx as Debian installs it: where it is, what is missing, and the frame of a configuration."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

_MODULES: Final = Path("/usr/lib/nginx/modules")
_LUA: Final = ("ndk_http_module.so", "ngx_http_lua_module.so")
_SBIN: Final = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin:/usr/local/sbin"

_FRAME: Final = """\
{user}
{modules}
daemon off;
worker_processes {workers};
worker_rlimit_nofile 16384;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  client_body_buffer_size 64k;
  keepalive_requests 1000000000;
  keepalive_timeout 75s;
  tcp_nodelay on;
{inside}
}}
"""

# Both nginx peers forward alike, so that what Lua costs is all that lies between them.
FORWARDS: Final = """\
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_read_timeout 300s;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;"""


def executable(name: str) -> str | None:
    """The full path of a server's binary; they lie where only root's PATH leads."""
    return shutil.which(name, path=_SBIN)


def has_lua() -> bool:
    """Whether nginx can run Lua, and Lua can read JSON."""
    return executable("nginx") is not None and all((_MODULES / m).exists() for m in _LUA)


def version(path: str) -> str:
    """`nginx/1.22.1`."""
    said = subprocess.run([path, "-v"], capture_output=True, text=True, check=False)  # noqa: S603
    return (said.stderr or said.stdout).partition(":")[2].strip()


def configuration(folder: Path, inside: str, *, workers: int = 1, lua: bool = False) -> str:
    """The whole nginx.conf around what stands inside `http`."""
    modules = "\n".join(f"load_module {_MODULES / m};" for m in _LUA) if lua else ""
    # Workers of a server that root starts are somebody else, who may not enter our folder.
    user = "user root;" if os.geteuid() == 0 else ""
    return _FRAME.format(user=user, modules=modules, folder=folder, workers=workers, inside=inside)


def origin(port: int) -> str:
    """What `FORWARDS` forwards to."""
    server = f"server 127.0.0.1:{port};"
    return f"  upstream origin {{ {server} keepalive 1024; keepalive_requests 1000000000; }}"


def command(folder: Path, text: str) -> list[str]:
    """Write the configuration; the command that runs it. nginx must be there."""
    path = folder / "nginx.conf"
    path.write_text(text)
    return [executable("nginx") or "nginx", "-p", str(folder), "-c", str(path), "-e", "stderr"]
