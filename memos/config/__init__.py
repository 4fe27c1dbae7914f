"""Settings, places, personas and keys: what the user decides, and where files live. Read only by cli and terminal.

config       what can be set, with its defaults and its documentation
config_file  config.toml: read, written atomically, and the example made from the docstrings
settings     what holds now and where each value comes from, in order: flag, environment, agent, config.toml, persona
places       which folder holds what
portraits    personas and humans, found by name
front_matter what such a file asks for: model, functions, limits, further blocks
parameters   which settings a conversation may change of how its model is asked
keys         API keys: environment, key store or a 0600 file; never config.toml
"""

from memos.config.config import Config, Embedded, Limits, Memory, Terminal, Timeouts
from memos.config.config_file import ConfigFile, example, read_config, write_config
from memos.config.keys import Key, find_key, key_name, store_key, stored_key, stored_secrets
from memos.config.places import Places, PortraitKind, shipped_folder
from memos.config.portraits import Portrait, list_humans, list_personas, load_human, load_persona
from memos.config.settings import Settings, nearest_name, parse_assignments

__all__ = [
    "Config",
    "ConfigFile",
    "Embedded",
    "Key",
    "Limits",
    "Memory",
    "Places",
    "Portrait",
    "PortraitKind",
    "Settings",
    "Terminal",
    "Timeouts",
    "example",
    "find_key",
    "key_name",
    "list_humans",
    "list_personas",
    "load_human",
    "load_persona",
    "nearest_name",
    "parse_assignments",
    "read_config",
    "shipped_folder",
    "store_key",
    "stored_key",
    "stored_secrets",
    "write_config",
]
