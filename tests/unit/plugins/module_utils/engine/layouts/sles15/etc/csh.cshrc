# /etc/csh.cshrc for SuSE Linux
