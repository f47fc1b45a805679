"""What tests of the compiled kernels share."""

import pytest

from quietbar import native
from quietbar.native import build


@pytest.fixture
def plant(monkeypatch, tmp_path):
    """A function that puts kernels in use in one of whose sources ``sound``, found there once, is now ``faulty``."""

    def planted(name: str, sound: str, faulty: str) -> None:
        sources = []
        for path in build.SOURCES:
            source = path.read_text()
            if path.name == name:
                assert source.count(sound) == 1
                source = source.replace(sound, faulty)
            (tmp_path / path.name).write_text(source)
            sources.append(tmp_path / path.name)
        monkeypatch.setattr(build, "SOURCES", tuple(sources))
        monkeypatch.setattr(build, "FLAGS", tuple(flag for flag in build.FLAGS if flag != "-O3"))  # compiles sooner
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        build._load.cache_clear()
        assert native.kernels() is not None

    yield planted
    build._load.cache_clear()
