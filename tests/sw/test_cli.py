"""The command line: one line for a mistake, exit statuses that mean something, modules loaded only when called."""

import subprocess
import sys
import types

import pytest

from quietbar import __version__, cli
from quietbar.contract.errors import ConfigurationError


@pytest.fixture
def command(monkeypatch):
    """Puts a command named ``probe`` into the table whose work is the given function."""

    def install(execute):
        module = types.ModuleType("quietbar_probe", "Probe the command line.\n\nA second paragraph.")
        module.add_arguments = lambda parser: parser.add_argument("--level", type=float, default=0.0)
        module.execute = execute
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(cli.COMMANDS, "probe", cli.Command(module.__name__, "probe"))

    return install


def fail(error):
    def execute(arguments):
        raise error

    return execute


def test_a_command_receives_its_arguments_and_gives_the_exit_status(command):
    command(lambda arguments: int(arguments.level))
    assert cli.main(["probe", "--level", "1"]) == 1
    assert cli.main(["probe"]) == 0


def test_a_mistake_is_one_line_on_standard_error_with_status_2(command, capsys):
    command(fail(ConfigurationError("noise.sigma", -1.0, "at least 0")))
    assert cli.main(["probe"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "quietbar: noise.sigma = -1.0: must be at least 0\n"
    assert captured.out == ""


@pytest.mark.parametrize("words", [["--debug", "probe"], ["probe", "--debug"]])
def test_debug_shows_the_traceback(command, words):
    command(fail(ConfigurationError("noise.sigma", -1.0, "at least 0")))
    with pytest.raises(ConfigurationError):
        cli.main(words)


def test_a_defect_is_not_dressed_up_as_a_mistake_of_the_user(command):
    command(fail(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.main(["probe"])


def test_an_interruption_has_its_own_status(command, capsys):
    command(fail(KeyboardInterrupt()))
    assert cli.main(["probe"]) == 130
    assert capsys.readouterr().err == "quietbar: interrupted\n"


def test_help_of_a_command_is_its_docstring(command, capsys):
    command(lambda arguments: 0)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["probe", "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "Probe the command line." in text and "A second paragraph." in text and "--level" in text


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert all(name in text and entry.summary.split()[0] in text for name, entry in cli.COMMANDS.items())


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"quietbar {__version__}\n"


@pytest.mark.parametrize("words", [["nonsense"], [], ["probe", "--level", "many"], ["probe", "--unknown"]])
def test_words_that_are_not_understood_have_status_2(command, words, capsys):
    command(lambda arguments: 0)
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2
    assert "usage: quietbar" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("amaranth.lib", "amaranth is not installed: pip install 'quietbar[hardware]' (or run 'make setup')"),
        ("cocotbext", "cocotbext is not installed: pip install 'quietbar[cosim]' (or run 'make setup')"),
        ("quietbar_probe", "this version of quietbar has no module quietbar_probe"),
        ("somebody", "somebody is not installed, and quietbar_probe needs it: run 'make setup'"),
    ],
)
def test_a_package_that_is_missing_is_named_with_what_installs_it(command, monkeypatch, capsys, missing, message):
    command(lambda arguments: 0)

    def import_module(name):
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr(cli.importlib, "import_module", import_module)
    assert cli.main(["probe"]) == 2
    assert capsys.readouterr().err == f"quietbar: {message}\n"


def test_help_and_doctor_load_neither_pytorch_nor_amaranth():
    program = (
        "import sys\nfrom quietbar.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "main(['doctor'])\nsys.exit(bool({'torch', 'amaranth'} & set(sys.modules)))\n"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0
