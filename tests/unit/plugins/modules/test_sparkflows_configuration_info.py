from __future__ import annotations

from ansible_collections.sparkflows.mlops.plugins.modules import sparkflows_configuration_info as module


def test_file(call, tmp_path):
    path = tmp_path / "configuration.properties"
    path.write_text("mlops.port=1\nsome.password=canary\nmine=canary\n")
    result = call(
        module, backend="file", path=str(path), secret_keys=["mine"], keys=["mlops.port", "mlops.region", "mine"]
    )
    assert result["by_key"] == {"mlops.port": "1", "mine": "********"} and result["missing"] == ["mlops.region"]
    everything = call(module, backend="file", path=str(path), secret_keys=["mine"])
    assert [one["key"] for one in everything["settings"] if one["secret"]] == ["some.password", "mine"]
    assert not everything["changed"] and "canary" not in everything.output


def test_bad_pattern_and_missing_file(call, tmp_path):
    options = dict(backend="file", path=str(tmp_path / "none"))
    assert "patterns: '(' is not a regular expression" in call(module, patterns=["("], **options)["msg"]
    assert call(module, **options)["settings"] == []
