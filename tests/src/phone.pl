#!/usr/bin/perl
# A phone before a terminal: reads the QR code from what stands there (on standard input), with zbarimg, and prints the
# code of this moment, made by oathtool. What it read is kept in the file that it is given.
#
# It sees what an eye would: half blocks, the foreground light as on a dark terminal, or dark with --light.
use strict;
use warnings;
use utf8;
use open qw(:std :encoding(UTF-8));

my $light_terminal = @ARGV && $ARGV[0] eq '--light' ? shift @ARGV : '';
my ($kept) = @ARGV;
my @rows = grep { /^[█▀▄ ]{20,}$/ && /[█▀▄]/ } map { s/\r//gr } split /\n/, do { local $/; <STDIN> };
die "no QR code on the terminal\n" unless @rows;
my %width = map { length, 1 } @rows;
die "the rows of the QR code are torn\n" unless keys %width == 1;

my ($width) = keys %width;
my $scale = 6;
my $picture = sprintf "P1\n%d %d\n", $width * $scale, 2 * @rows * $scale;
for my $row (@rows) {
    for my $half ('▀', '▄') {
        my $drawn = $light_terminal ? '1 ' : '0 ';
        my $blank = $light_terminal ? '0 ' : '1 ';
        my $line = join '', map { ($_ eq '█' || $_ eq $half ? $drawn : $blank) x $scale } split //, $row;
        $picture .= "$line\n" x $scale;
    }
}
open my $file, '>', "$kept.pbm" or die "$kept.pbm: $!\n";
print $file $picture;
close $file or die "$kept.pbm: $!\n";

my @reader = $light_terminal ? ('-Stest-inverted') : ();
open my $scan, '-|', 'zbarimg', '-q', '--raw', @reader, "$kept.pbm" or die "zbarimg: $!\n";
chomp(my $uri = <$scan> // '');
my ($secret) = $uri =~ /[?&]secret=([A-Z2-7]+)/ or die "no key in the QR code\n";
open my $app, '>', $kept or die "$kept: $!\n";
print $app "$uri\n";
close $app or die "$kept: $!\n";
exec 'oathtool', '--totp', '-b', $secret or die "oathtool: $!\n";
