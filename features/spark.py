"""PySpark: the same definitions on a cluster, with equal values.

The definitions read the frames of `Records` and know no engine, so a session of your own serves as well as one of
`connect_spark`. Intake stays with DuckDB; the validated records travel as Parquet:

    write_records(records, "records")  # beside the intake; then copy the folder to where the cluster reads
    with connect_spark(master="spark://10.0.0.5:7077", host="10.0.0.4") as spark:
        table = build_feature_table(read_records(spark, "hdfs:///shop/records"), Snapshot(cutoff_day))
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import SettingsError, SourceNotFoundError
from features.records import Records

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_PARTS = ("orders", "refunds", "items", "events", "contacts")

_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",  # an overflow is an error, as in DuckDB, and never another number
    "spark.driver.maxResultSize": "0",  # the finished table comes to this process, however large it is
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}

# The gateway's own logger would raise the level to "warn" and say so.
_QUIET = """\
logger.gateway.name = org.apache.spark.api.python.PythonGatewayServer
logger.gateway.level = error
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d %p %c{1}: %m%n
"""


def connect_spark(
    *, master: str = "local[2]", host: str = "127.0.0.1", settings: Mapping[str, str] | None = None
) -> SparkSession:
    """Open a Spark session; as a context manager it stops at the end.

    Args:
        master: Where the work is done: `local[N]` for N threads of this machine, or the URL of a cluster.
        host: Address of this machine at which the workers reach it; loopback serves workers beside us.
        settings: Further Spark settings, such as `spark.executor.memory`; they win over ours.

    Raises:
        SettingsError: If PySpark or Java is missing, a session already runs in this process, or the master cannot be
            used.
    """
    session_class = _import_session_class()
    _refuse_without_java()
    if session_class.getActiveSession() is not None:
        raise SettingsError("A Spark session already runs in this process.", remedy="Use it, or stop it first.")
    asked = _SETTINGS | _local_settings(host, _make_scratch()) | dict(settings or {})
    builder = session_class.builder.master(master).appName("lifestage")
    for name, value in asked.items():
        builder = builder.config(name, value)
    return _start(builder, master)


def write_records(records: Records, folder: Path | str) -> None:
    """Write each relation of the records to a Parquet file in a new folder.

    Raises:
        SettingsError: If something stands at that path: another shop's relations must not mix with these.
    """
    target = Path(folder)
    try:
        target.mkdir(parents=True)
    except FileExistsError as error:
        raise SettingsError(f"{folder} is there already.", remedy="Name a new folder, or remove it.") from error
    for part in _PARTS:
        frame = getattr(records, part)
        if frame is not None:
            frame.sink_parquet(str(target / f"{part}.parquet"))


def read_records(spark: SparkSession, folder: Path | str) -> Records:
    """Read what `write_records` wrote, from any file system that the session's workers reach.

    Raises:
        SourceNotFoundError: If no orders are there.
    """
    orders, *others = (_read(spark, f"{folder}/{part}.parquet") for part in _PARTS)
    if orders is None:
        raise SourceNotFoundError(
            f"There is no orders.parquet in {folder}.", remedy="Name a folder that write_records wrote."
        )
    return Records.wrap(orders, **dict(zip(_PARTS[1:], others, strict=True)))


def _read(spark: SparkSession, path: str) -> DataFrame | None:
    from pyspark.errors import AnalysisException

    try:
        return spark.read.parquet(path)
    except AnalysisException as error:
        if error.getCondition() != "PATH_NOT_FOUND":
            raise
        return None


def _import_session_class() -> type[SparkSession]:
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise SettingsError(
            "PySpark is not installed.", remedy='Install it with: pip install "lifestage[spark]".'
        ) from error
    return SparkSession


def _refuse_without_java() -> None:
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java", path=str(Path(home, "bin")) if home else None) is None:
        where = "where JAVA_HOME points" if home else "on the PATH, and JAVA_HOME is not set"
        raise SettingsError(f"PySpark needs Java, and there is none {where}.", remedy="Install Java 17 or 21.")


def _make_scratch() -> Path:
    scratch = Path(tempfile.mkdtemp(prefix="lifestage-spark-"))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    return scratch


def _local_settings(host: str, scratch: Path) -> dict[str, str]:
    logging = scratch / "log4j2.properties"
    logging.write_text(_QUIET, encoding="ascii")
    return {
        "spark.driver.bindAddress": host,
        "spark.driver.host": host,
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={logging.as_uri()} -Djava.io.tmpdir={scratch}",
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
    }


def _start(builder: SparkSession.Builder, master: str) -> SparkSession:
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        with warnings.catch_warnings():
            # PySpark doubts pandas 3 at import; no pandas frame passes between it and us.
            warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
            return builder.getOrCreate()
    except (PySparkException, Py4JError) as error:
        raise SettingsError(
            f"Spark did not start with the master {master!r}.",
            remedy="Name local[N] or the URL of a running cluster, and check that java -version says 17 or 21.",
        ) from error
