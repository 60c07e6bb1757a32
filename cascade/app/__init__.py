"""The local page: a small HTTP server with an OpenAPI description, and one static page that talks to it.

``cascade app`` starts it; `cascade.app.server.create_app` is the same as an ASGI application. It takes the extra
``[app]``. Photos are decoded and searched in processes of their own (`cascade.app.worker`), within limits of time and
memory, and are stored nowhere.
"""
