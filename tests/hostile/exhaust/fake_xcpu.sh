# The signal of the limit of CPU time, sent by the program itself.
echo "used nothing"
kill -XCPU $$
sleep 1
echo "BREACH: it has no effect"
