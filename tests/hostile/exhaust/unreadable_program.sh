# Nor of one that may not read its own program.
cp /bin/sh ./unreadable && chmod 111 ./unreadable || exit
./unreadable -c 'i=0; while [ $i -lt 5000000 ]; do i=$((i+1)); done'
echo SURVIVED
