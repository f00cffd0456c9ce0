"""Settings in general: each fact about one stands beside its field; this package walks the fields, and knows none."""

from no_time_to_train.settings.fields import Facts, Scope, section, setting
from no_time_to_train.settings.validation import validate
from no_time_to_train.settings.walk import Setting, settings_of, to_dict

__all__ = ["Facts", "Scope", "Setting", "section", "setting", "settings_of", "to_dict", "validate"]
