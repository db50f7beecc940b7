"""Who asks: bearer tokens of the administrator and of service accounts."""

import secrets

_ADMINISTRATOR = "kubernetes-admin"


class Tokens:
    """The tokens that the API server knows, and whose they are."""

    def __init__(self, administrator: str) -> None:
        self._users = {administrator: _ADMINISTRATOR}

    def user(self, token: str) -> tuple[str, tuple[str, ...]] | None:
        """Return name and groups of whom a token belongs to, or None."""
        name = self._users.get(token)
        if name is None:
            return None
        return name, ("system:masters",) if name == _ADMINISTRATOR else ("system:serviceaccounts",)

    def issue(self, namespace: str, account: str) -> str:
        """Return a new token of a service account."""
        token = secrets.token_urlsafe(24)
        self._users[token] = f"system:serviceaccount:{namespace}:{account}"
        return token
