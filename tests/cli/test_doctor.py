"""The doctor on this environment: nothing is wrong with it, in a Ray actor and a vLLM process neither."""

from longvt_plugins.cli.main import main


def test_a_sound_installation_passes(capsys):
    assert main(["doctor", "--json"]) == 0, capsys.readouterr().out
