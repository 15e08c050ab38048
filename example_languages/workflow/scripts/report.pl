# Add up the parts, in order, and draw them: report.pl LIMIT TABLE PICTURE PART...
# Needs no module: the Perl that every Debian has is enough.
use strict;
use warnings;

my ($limit, $table, $picture, @parts) = @ARGV;
my @digits = (1, 3, 7, 9);    # of all primes but 2 and 5
my ($primes, $last, %pairs) = (0, undef);

for my $part (@parts) {
    open my $in, '<', $part or die "$part: $!\n";
    while (<$in>) {
        my ($what, @values) = split;
        $primes += $values[0] if $what eq 'primes';
        # The last prime of one part and the first of the next are neighbours, too.
        $pairs{ $last % 10, $values[0] % 10 }++ if $what eq 'first' and defined $last;
        $last = $values[0] if $what eq 'last';
        $pairs{ $values[0], $values[1] } += $values[2] if $what eq 'pair';
    }
    close $in;
}
die "no primes below $limit\n" unless defined $last;

my %rows;
for my $from (@digits) {
    $rows{$from} += $pairs{ $from, $_ } // 0 for @digits;
}

sub share { my ($from, $to) = @_; return $rows{$from} ? 100 * ($pairs{ $from, $to } // 0) / $rows{$from} : 0 }

open my $out, '>', $table or die "$table: $!\n";
print $out "$primes primes below $limit, the last is $last.\n\n";
print $out "After a prime that ends in ... the next one ends in (percent; by chance each would be 25):\n\n";
print $out '     ', (map { sprintf '%8d', $_ } @digits), "     pairs\n";
for my $from (@digits) {
    print $out sprintf('%5d', $from), (map { sprintf '%8.2f', share($from, $_) } @digits), sprintf("%10d\n", $rows{$from});
}
close $out or die "$table: $!\n";

my ($cell, $left, $top) = (96, 60, 84);
my ($width, $height) = ($left + 4 * $cell + 20, $top + 4 * $cell + 20);
open my $svg, '>', $picture or die "$picture: $!\n";
print $svg qq(<svg xmlns="http://www.w3.org/2000/svg" width="$width" height="$height" font-family="sans-serif">\n);
print $svg qq(<rect width="100%" height="100%" fill="white"/>\n);
print $svg qq(<text x="20" y="30" font-size="17" font-weight="bold">Primes avoid repeating their last digit</text>\n);
print $svg qq(<text x="20" y="50" font-size="12">Rows: a prime's last digit. Columns: the next one's. Primes: $primes.</text>\n);
for my $row (0 .. 3) {
    my $middle = $top + $row * $cell + $cell / 2;
    my $column = $left + $row * $cell + $cell / 2;
    print $svg qq(<text x="40" y="$middle" text-anchor="middle" dominant-baseline="middle">$digits[$row]</text>\n);
    print $svg qq(<text x="$column" y="76" text-anchor="middle">$digits[$row]</text>\n);
    for my $to (0 .. 3) {
        my $share = share($digits[$row], $digits[$to]);
        my $blue = sprintf '%.2f', $share > 40 ? 1 : $share / 40;
        my ($x, $y) = ($left + $to * $cell, $top + $row * $cell);
        print $svg qq(<rect x="$x" y="$y" width="$cell" height="$cell" fill="#1f5fa8" fill-opacity="$blue" stroke="white"/>\n);
        my ($ink, $at) = ($blue > 0.55 ? 'white' : '#1f2933', $x + $cell / 2);
        printf $svg qq(<text x="%d" y="%d" text-anchor="middle" dominant-baseline="middle" fill="%s">%.1f %%</text>\n),
            $at, $middle, $ink, $share;
    }
}
print $svg "</svg>\n";
close $svg or die "$picture: $!\n";
print STDERR scalar(@parts), " parts, $primes primes\n";
