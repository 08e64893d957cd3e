"""The sections of a diagnosis, one file each; see :mod:`mmbal.diagnosis.section` for what one is."""
