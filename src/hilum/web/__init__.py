"""`hilum serve`: the page on this machine and the same over HTTP. Needs the extra `serve`; see docs/serve.md."""
