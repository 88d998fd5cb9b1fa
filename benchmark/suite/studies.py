"""Where Optuna's studies are kept: a journal beside a search's results, or one database for all searches."""

import time
from pathlib import Path

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import URL, create_engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from benchmark.errors import InputError

EXPECTED = "expected a database's URL such as postgresql://user@host/database"
PACKAGES = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}  # of drivers
ENGINE = {"poolclass": NullPool}  # no connection is held during a training, which may outlast it
PATIENCE, PAUSE = 10.0, 0.1  # in making the tables; seconds


def check_studies(url: str) -> None:
    """Makes sure that searches can keep their studies in the database of this URL, and makes its tables.

    url: in SQLAlchemy's form. A study's name is its search's id, so two results folders must not share a database.
    Raises InputError where the URL is malformed, its driver is not installed, or the database cannot be reached or
    does not take the tables. Neither the message nor its traceback holds the URL's password.
    """
    _database(url)


def study_storage(journal: Path, url: str | None) -> BaseStorage:
    """Optuna's storage for one search: the database of this URL, or an empty journal in the file `journal`.

    A journal that an earlier process left is deleted either way. Raises InputError, as `check_studies` does.
    """
    for leftover in journal.parent.glob(f"{journal.name}*"):  # its lock too
        leftover.unlink()
    return JournalStorage(JournalFileBackend(str(journal))) if url is None else _database(url)


def _database(url: str) -> RDBStorage:
    address = _parse(url)
    shown = f"the studies' database {address.set(query={}).render_as_string(hide_password=True)}"
    try:
        create_engine(address, **ENGINE).connect().close()
        return _with_tables(url)
    except NoSuchModuleError as error:
        raise InputError(f"{shown} is of an unknown kind {address.drivername!r}; {EXPECTED}") from error
    except ImportError as error:
        package = PACKAGES.get(error.name or "", error.name)
        raise InputError(f"{shown} needs the driver {error.name}; install it: pip install '{package}'") from error
    except (SQLAlchemyError, StorageInternalError, RuntimeError, TypeError, ValueError) as error:
        reason: BaseException = error
        while reason.__cause__ is not None:  # down to the driver's own words
            reason = reason.__cause__
        expected = "expected one that runs and that this user may make tables in: start it, or correct its URL"
        raise InputError(f"{shown} cannot be used: {str(reason).strip()}; {expected}") from error


def _parse(url: str) -> URL:
    """Raises InputError without what a wrong URL says: any part of it may be the password."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise InputError(f"the studies' database has a malformed URL (not shown: a password?); {EXPECTED}") from None
    if address.get_backend_name() == "sqlite":
        if address.database in (None, "", ":memory:"):
            got = f"the studies' database {address.drivername}:// is in memory, where one process alone sees it"
            raise InputError(f"{got}; expected a file, such as sqlite:///studies.db")
    elif url.count("@") > 1:  # a part of the password would be taken for the host's name, and printed
        got = "the URL of the studies' database has several @ (not shown: a password?)"
        raise InputError(f"{got}; expected one, before the host: write those of a name or password as %40")
    return address


def _with_tables(url: str) -> RDBStorage:
    """Tries again while other processes make the same tables: one makes each, and the others' commands fail."""
    template = url.replace("{", "{{").replace("}", "}}")  # Optuna formats it
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return RDBStorage(template, engine_kwargs={**ENGINE})  # it may add to them
        except (SQLAlchemyError, StorageInternalError):
            if time.monotonic() > deadline:
                raise
            time.sleep(PAUSE)
