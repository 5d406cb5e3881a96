"""Setting crysearch up with FireWorks, jobflow and a queue, and finding out what is wrong with it.

`crysearch init` writes the configuration files, `crysearch doctor` checks what is there.
"""
