# /etc/cshrc
