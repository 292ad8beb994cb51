import pytest

from longvt_plugins.tokens.profiles import profile_named
from longvt_plugins.verify.session import Session


@pytest.fixture(scope="session")
def sessions(demo, tmp_path_factory):
    """``(profile) -> (session, its samples)``, each rolled out once."""
    made = {}

    def session(profile):
        if profile not in made:
            folder = tmp_path_factory.mktemp("verify")
            made[profile] = Session(str(demo.folder / "model"), folder, profile_named(profile), "scripted", "float32")
            made[profile] = made[profile], made[profile].samples()
        return made[profile]

    return session
