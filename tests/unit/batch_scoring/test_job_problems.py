"""What the scoring job says of what libraries throw."""

from score_job import problems


def test_a_worker_s_message_is_found_in_java_s():
    report = "An error occurred\n\tat org.apache...\nBadInput: Line 3: a is 'x', but the model wants double.\n\n\tat java.lang"
    assert problems.explain(RuntimeError(report)) == "Line 3: a is 'x', but the model wants double."
    java = "o1.fit\n\tat x\nCaused by: org.apache.spark.SparkException: Encountered null\n\tat y"
    assert "Encountered null" in problems.explain(RuntimeError(java))
    named = "x\n  File y\nscore_job.csv_files.BadInput: Line 5: bmi is empty, and that may be why. The model failed: ValueError: NaN\n"
    assert problems.explain(RuntimeError(named)).startswith("Line 5: bmi is empty")
    python = "An error\nCaused by: a.PythonException: Traceback (most)\n  File x\nh2o.StartupError: no jar\n\n\tat y"
    assert problems.explain(RuntimeError(python)) == "h2o.StartupError: no jar"
    assert problems.explain(PermissionError(13, "Permission denied", "/tmp/in0/a.csv")).endswith("may not read or write a.csv.")
    assert problems.explain(OSError(28, "No space left on device")) == "the scored file: No space left on device"
