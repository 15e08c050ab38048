# How often a prime that ends in one digit is followed by a prime that ends in another; primes are read in order.
# Any awk does, that of busybox too.
{
    digit = $1 % 10
    if (NR == 1)
        first = $1
    else
        pairs[last_digit " " digit]++
    last = $1
    last_digit = digit
}

END {
    if (NR == 0)
        exit
    print "primes", NR
    print "first", first
    print "last", last
    for (a = 1; a <= 9; a++)
        for (b = 1; b <= 9; b++)
            if ((a " " b) in pairs)
                print "pair", a, b, pairs[a " " b]
}
