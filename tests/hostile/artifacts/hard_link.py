# A second name of a file that is asked for: what is under it may be anything that a path leads to.
import os
open("honest.txt", "w").write("fine")
open("inner", "w").write("x")
os.link("inner", "other.txt")
