# /etc/csh.cshrc: system-wide .cshrc file for csh(1) and tcsh(1)
